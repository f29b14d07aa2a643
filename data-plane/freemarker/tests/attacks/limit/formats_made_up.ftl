<#list 1.. as i>${i?string("0." + ""?left_pad(i % 50, "0"))}</#list>
