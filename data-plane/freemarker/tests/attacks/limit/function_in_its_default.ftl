<#function f x=f()><#return x></#function>${f()}
