<#list 1.. as i><#list big?matches("a") as m></#list></#list>
