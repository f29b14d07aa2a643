<#assign d = ""?left_pad(900, "7")><#list 1.. as i><#assign n = d?number></#list>
