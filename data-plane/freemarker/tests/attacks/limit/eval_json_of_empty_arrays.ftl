<#assign x = ("[" + ""?left_pad(2700000, "[],") + "[]]")?eval_json>
