<#list 1.. as i><#assign x = ("1" + ""?left_pad(500)?replace(" ", "+1"))?eval></#list>
