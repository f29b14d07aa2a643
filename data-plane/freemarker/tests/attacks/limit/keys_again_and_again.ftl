<#assign h = {}><#list 1..500 as i><#assign h = h + {"k" + i?c: i}></#list><#list 1.. as i><#assign s = h?keys + h?values></#list>
