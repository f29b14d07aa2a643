<#assign x = ("[" + ""?left_pad(600000, "[],") + "[]]")?eval_json y = ("{" + ""?left_pad(300000, "\"\":0,") + "\"\":0}")?eval_json z = ("[" + ""?left_pad(100000, "[0],") + "[]]")?eval_json>${x?size}
