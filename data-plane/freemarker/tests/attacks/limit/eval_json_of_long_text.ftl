<#assign s = "[" + ""?left_pad(50000)?replace(" ", "1,") + "1]"><#list 1.. as i><#assign x = s?eval_json></#list>
