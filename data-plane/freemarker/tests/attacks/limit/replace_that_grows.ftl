<#assign s = "a"><#list 1.. as i><#assign s = s?replace("a", "aa")></#list>
