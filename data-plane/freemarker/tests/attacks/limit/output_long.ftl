<#list 1.. as i>${big}</#list>
