<#macro m><#nested></#macro>«75:<@m>»x«75:</@m>»
