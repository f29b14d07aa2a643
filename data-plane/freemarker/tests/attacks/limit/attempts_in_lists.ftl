<#list 1.. as i><#attempt>${big}${nope}<#recover></#attempt></#list>
