<#list 1.. as i><#assign s>${big}${big}</#assign></#list>
