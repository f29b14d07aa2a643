<#function f n><#if n lt 2><#return n></#if><#return f(n - 1) + f(n - 2)></#function>${f(50)}
