<#assign h = {}><#list 1.. as i><#assign h = h + {"k" + i?c: h}></#list>
