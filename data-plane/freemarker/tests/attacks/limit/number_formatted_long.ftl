<#list 1.. as i>${"1e900"?number?string("#,##0.00")}</#list>
