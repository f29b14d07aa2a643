<#assign x = ("[" + ""?left_pad(1000000, "0,") + "0]")?eval_json>
