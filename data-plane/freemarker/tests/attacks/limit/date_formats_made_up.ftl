<#list 1.. as i>${i?number_to_datetime?string("yyyy" + i?c)}</#list>
