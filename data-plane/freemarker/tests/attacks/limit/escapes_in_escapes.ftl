<#escape x as x + x><#escape x as x + x><#escape x as x + x><#escape x as x + x><#list 1.. as i>${big}</#list></#escape></#escape></#escape></#escape>
