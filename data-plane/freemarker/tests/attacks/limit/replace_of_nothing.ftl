<#assign s = "ab"><#list 1.. as i><#assign s = s?replace("", "xx")></#list>
