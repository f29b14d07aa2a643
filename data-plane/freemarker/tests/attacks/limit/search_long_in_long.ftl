<#list 1.. as i><#if big?contains(big[0..49999] + "b")></#if></#list>
