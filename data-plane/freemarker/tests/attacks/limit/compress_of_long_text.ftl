<#list 1.. as i><#assign s><#compress>${big}   ${big}</#compress></#assign></#list>
