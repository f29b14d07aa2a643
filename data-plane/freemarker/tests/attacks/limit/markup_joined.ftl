<#outputformat "HTML"><#assign s>${big}</#assign><#list 1.. as i><#assign s = s + s></#list></#outputformat>
