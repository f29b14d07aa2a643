<#assign s = "<@s?interpret/>"><@s?interpret/>
