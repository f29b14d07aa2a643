<#assign s = "s?eval">${s?eval}
