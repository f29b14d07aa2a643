<#assign s = "x"><#list 1.. as i><#assign s>${s}${s}</#assign></#list>
