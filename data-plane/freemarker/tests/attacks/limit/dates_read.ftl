<#list 1.. as i><#assign d = "2020-01-02 03:04:05.678"?datetime("yyyy-MM-dd HH:mm:ss.SSS")></#list>
