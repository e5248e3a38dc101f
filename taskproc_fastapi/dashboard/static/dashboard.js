"use strict";
// Keeps the page that is shown up to date, by server-sent events or, where these fail, by fetching it. Whatever a
// reader does meanwhile stays: focus, what is open, checked, chosen or typed, since only what differs is touched.
(() => {
  const alive = document.getElementById("alive");
  const button = document.getElementById("live");
  const EVERY = 4000; // ms between two fetches
  const FAILURES = 3; // of the stream, in a row, until pages are fetched instead
  let source = null, timer = null, failures = 0, paused = false, held = null;

  // By getAttribute: `form.id` is the form's field of that name, if it has one.
  const keyOf = (node) => node.nodeType === 1 ? node.getAttribute("data-key") || node.getAttribute("id") || "" : "";
  const isAlike = (old, fresh) => old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
  const isKept = (element, name) =>
    (name === "open" && element.nodeName === "DETAILS") ||
    (/^(INPUT|SELECT|TEXTAREA|OPTION)$/.test(element.nodeName) && /^(value|checked|selected)$/.test(name) && element.type !== "hidden");

  function morph(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !isKept(old, name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && !isKept(old, name)) old.setAttribute(name, value);
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const keyed = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = keyOf(wanted);
      let found = key ? keyed.get(key) : next;
      if (found && (!isAlike(found, wanted) || found.parentNode !== old)) found = null;
      if (found) {
        if (found !== next) old.insertBefore(found, next); else next = next.nextSibling;
        morph(found, wanted);
      } else {
        old.insertBefore(document.importNode(wanted, true), next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  // A reader who is choosing from a list, or has marked text to copy it, is not disturbed.
  const isBusy = () => {
    const chosen = document.getSelection();
    return document.activeElement?.nodeName === "SELECT" ||
      (chosen && !chosen.isCollapsed && alive.contains(chosen.anchorNode));
  };

  function show(fresh) {
    if (paused) return;
    if (isBusy()) { held = fresh; return; }
    held = null;
    morphChildren(alive, fresh);
  }

  const parse = (html) => new DOMParser().parseFromString(html, "text/html");

  function say(word, isLost) {
    button.hidden = false;
    button.querySelector(".word").textContent = word;
    button.classList.toggle("lost", isLost);
    button.setAttribute("aria-pressed", String(!paused));
  }

  function stream() {
    if (!window.EventSource) return poll();
    source = new EventSource(location.href);
    source.addEventListener("main", (event) => {
      failures = 0;
      say("Live", false);
      show(parse(event.data).body);
    });
    source.addEventListener("error", () => {
      failures += 1;
      if (failures < FAILURES && source.readyState !== EventSource.CLOSED) return;
      source.close();
      source = null;
      poll();
    });
  }

  async function poll() {
    try {
      const response = await fetch(location.href, { headers: { "X-Taskproc-Live": "poll" }, redirect: "error" });
      if (response.status === 404) return say("No longer there", true);
      const fresh = response.ok && parse(await response.text()).getElementById("alive");
      if (fresh) show(fresh);
      say(fresh ? "Live" : "Out of date", !fresh);
    } catch {
      say("Out of date", true);
    }
    if (!paused && !document.hidden) timer = setTimeout(poll, EVERY);
  }

  function stop() {
    source?.close();
    source = null;
    clearTimeout(timer);
  }

  function start() {
    stop();
    failures = 0;
    if (!paused && !document.hidden) stream();
  }

  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  function words(seconds) {
    const whole = Math.max(Math.floor(seconds), 0);
    for (const [length, name, part, small] of units) {
      if (whole < length) continue;
      const rest = Math.floor((whole % length) / part);
      const large = Math.floor(whole / length).toLocaleString("en-US");
      return rest && whole < 100 * length ? `${large} ${name} ${rest} ${small}` : `${large} ${name}`;
    }
    return `${whole} s`;
  }

  function tick() {
    if (paused || document.hidden) return;
    for (const time of alive.querySelectorAll("time[data-shown='ago'], time[data-shown='since']")) {
      const apart = (Date.now() - Date.parse(time.dateTime)) / 1000;
      const text = time.dataset.shown === "since" ? words(apart)
        : Math.abs(apart) < 1 ? "now" : apart > 0 ? `${words(apart)} ago` : `in ${words(-apart)}`;
      if (time.textContent !== text) time.textContent = text;
    }
    if (held && !isBusy()) show(held);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const open = document.activeElement?.closest?.("details.ask[open]");
      if (open) { open.open = false; open.querySelector("summary").focus(); }
    }
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.nodeName ?? "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      document.getElementById("q").focus();
    }
  });

  if (!alive || document.querySelector("form.confirm")) return;
  button.addEventListener("click", () => {
    paused = !paused;
    say(paused ? "Paused" : "Live", false);
    start();
  });
  document.addEventListener("visibilitychange", start);
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => { if (event.persisted) start(); });
  setInterval(tick, 1000);
  say("Live", false);
  start();
})();
