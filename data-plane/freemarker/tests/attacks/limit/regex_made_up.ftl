<#list 1.. as i><#if "abc"?matches("a{" + (i % 1000) + "}")></#if></#list>
