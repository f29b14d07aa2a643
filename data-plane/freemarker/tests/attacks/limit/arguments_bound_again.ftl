<#function f x><#return x></#function><#assign g = f><#list 1.. as i><#assign g = g?with_args([])></#list>
