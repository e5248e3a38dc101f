-- Cancels a batch.
-- KEYS: meta
-- arg: batch, tenant?
-- returns: '1' when it is canceling or canceled now; '' when it is unknown, another tenant's or ended otherwise
local batch = read_hash(batch_key(arg.batch), 'tenant', 'cancel', 'end')
if not batch[1] or arg.tenant and batch[1] ~= arg.tenant then
  return ''
elseif batch[2] then
  return '1'
elseif batch[3] then
  return ''
end
pass_memory_limit()
cancel(arg.batch)
finish()
return '1'
