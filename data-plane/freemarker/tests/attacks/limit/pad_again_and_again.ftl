<#list 1.. as i><#assign s = "a"?left_pad(100000)></#list>
