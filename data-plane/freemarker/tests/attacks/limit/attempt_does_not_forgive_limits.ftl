<#attempt><#list 1.. as i></#list><#recover>recovered</#attempt>
