<#assign n = 3><#list 1.. as i><#assign n = n * n></#list>
