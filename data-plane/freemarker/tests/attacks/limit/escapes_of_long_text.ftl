<#list 1.. as i><#assign s = big?json_string?js_string?html?url("UTF-8")></#list>
