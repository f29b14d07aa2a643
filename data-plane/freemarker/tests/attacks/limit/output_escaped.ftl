<#list 1.. as i>${big?html?html?html?html}</#list>
