"use strict";
// Keeps the page that is shown up to date, by server-sent events or, where these fail, by fetching it. Whatever a
// reader does meanwhile stays: focus, what is open, checked, chosen or typed, since only what differs is touched.
(() => {
  const alive = document.getElementById("alive");
  const button = document.getElementById("live");
  const EVERY = 4000; // ms between two fetches
  const FAILURES = 3; // of the stream, in a row, until pages are fetched instead
  const SILENT = 8000; // ms until the first event, which comes at once: then something on the way holds it back
  const STALE = 7000; // ms without news: three pulses of a stream, or a fetch, are overdue
  let source = null, timer = null, silence = null, failures = 0, paused = false, held = null, heard = Date.now(), gone = false;

  // By getAttribute: `form.id` is the form's field of that name, if it has one.
  const keyOf = (node) => node.nodeType === 1 ? node.getAttribute("data-key") || node.getAttribute("id") || "" : "";
  const kindOf = (node) => node.nodeType === 1 ? (node.getAttribute("class") || "").split(" ")[0] : "";
  const isAlike = (old, fresh) => old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh) &&
    (keyOf(old) !== "" || kindOf(old) === kindOf(fresh) || !kindOf(old) || !kindOf(fresh));
  const isBlank = (node) => node.nodeType === 3 && !node.nodeValue.trim();
  const isKept = (element, name) =>
    (name === "open" && element.nodeName === "DETAILS") ||
    (/^(INPUT|SELECT|TEXTAREA|OPTION)$/.test(element.nodeName) && /^(value|checked|selected)$/.test(name) && element.type !== "hidden");

  function alikeFrom(node, wanted) {
    if (wanted.nodeType !== 1) return node;
    while (node && !isAlike(node, wanted)) node = node.nextSibling;
    return node;
  }

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
    const wants = [...fresh.childNodes];
    const keys = new Set(wants.map(keyOf));
    // What is gone goes first, so that what stays need not be moved: it would lose the focus.
    for (const node of [...old.childNodes]) if (keyOf(node) && !keys.has(keyOf(node))) node.remove();
    const keyed = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    let next = old.firstChild;
    for (const wanted of wants) {
      const key = keyOf(wanted);
      // Blanks between elements come and go with what is between them.
      while (next && isBlank(next) && !isBlank(wanted)) {
        const blank = next;
        next = next.nextSibling;
        blank.remove();
      }
      let found = key ? keyed.get(key) : alikeFrom(next, wanted);
      if (found && (!isAlike(found, wanted) || found.parentNode !== old)) found = null;
      while (!key && found && next !== found) { // what stood before it, as a banner, has gone
        const gone = next;
        next = next.nextSibling;
        if (!keyOf(gone)) gone.remove();
      }
      if (found) {
        if (found === next) next = next.nextSibling;
        else if (old.moveBefore) old.moveBefore(found, next);
        else old.insertBefore(found, next);
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
    silence = setTimeout(giveUp, SILENT);
    source.addEventListener("main", (event) => {
      hear();
      show(parse(event.data).body);
    });
    source.addEventListener("pulse", hear);
    source.addEventListener("error", () => {
      failures += 1;
      if (failures >= FAILURES || source.readyState === EventSource.CLOSED) giveUp();
    });
  }

  function hear() {
    clearTimeout(silence);
    failures = 0;
    heard = Date.now();
    say("Live", false);
  }

  function giveUp() {
    stop();
    poll();
  }

  async function poll() {
    try {
      const response = await fetch(location.href, { headers: { "X-Taskproc-Live": "poll" }, redirect: "error" });
      if (response.status === 404) {
        gone = true;
        return say("No longer there", true);
      }
      const fresh = response.ok && parse(await response.text()).getElementById("alive");
      if (fresh) {
        hear();
        show(fresh);
      } else say("Out of date", true);
    } catch {
      say("Out of date", true);
    }
    if (!paused && !document.hidden) timer = setTimeout(poll, EVERY);
  }

  function stop() {
    source?.close();
    source = null;
    clearTimeout(timer);
    clearTimeout(silence);
  }

  function start() {
    stop();
    failures = 0;
    heard = Date.now();
    gone = false;
    if (!paused && !document.hidden) stream();
  }

  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  function words(seconds, parts = 2) {
    const whole = Math.max(Math.floor(seconds), 0);
    for (const [length, name, part, small] of units) {
      if (whole < length) continue;
      const rest = Math.floor((whole % length) / part);
      const large = Math.floor(whole / length).toLocaleString("en-US");
      return parts > 1 && rest && whole < 100 * length ? `${large} ${name} ${rest} ${small}` : `${large} ${name}`;
    }
    return `${whole} s`;
  }

  function tick() {
    if (paused || document.hidden || gone) return;
    if (Date.now() - heard > STALE) return say("Out of date", true); // and time does not go on either
    for (const time of alive.querySelectorAll("time:is([data-shown='ago'], [data-shown='since'], [data-shown='age'])")) {
      const apart = (Date.now() - Date.parse(time.dateTime)) / 1000;
      const text = time.dataset.shown === "since" ? words(apart)
        : time.dataset.shown === "age" ? words(apart, 1)
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

  // A box of a table's head checks all below it.
  document.documentElement.classList.add("scripted");
  document.addEventListener("change", ({ target }) => {
    if (!target.classList.contains("all")) return;
    for (const box of target.closest("table").querySelectorAll("tbody input[type='checkbox']")) box.checked = target.checked;
  });

  document.querySelector(".places [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  if (!alive) return;
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
