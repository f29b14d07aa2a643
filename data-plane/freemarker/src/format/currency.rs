//! Currencies by their code in ISO 4217, and how English of the United States writes them.

/// Codes that Java 17 knows.
const CODES: &str = "\
    ADP AED AFA AFN ALL AMD ANG AOA ARS ATS AUD AWG AYM AZM AZN BAM BBD BDT BEF BGL BGN BHD BIF BMD BND \
    BOB BOV BRL BSD BTN BWP BYB BYN BYR BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CSD CUC CUP CVE \
    CYP CZK DEM DJF DKK DOP DZD EEK EGP ERN ESP ETB EUR FIM FJD FKP FRF GBP GEL GHC GHS GIP GMD GNF GRD \
    GTQ GWP GYD HKD HNL HRK HTG HUF IDR IEP ILS INR IQD IRR ISK ITL JMD JOD JPY KES KGS KHR KMF KPW KRW \
    KWD KYD KZT LAK LBP LKR LRD LSL LTL LUF LVL LYD MAD MDL MGA MGF MKD MMK MNT MOP MRO MRU MTL MUR MVR \
    MWK MXN MXV MYR MZM MZN NAD NGN NIO NLG NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PTE PYG QAR ROL RON \
    RSD RUB RUR RWF SAR SBD SCR SDD SDG SEK SGD SHP SIT SKK SLE SLL SOS SRD SRG SSP STD STN SVC SYP SZL \
    THB TJS TMM TMT TND TOP TPE TRL TRY TTD TWD TZS UAH UGX USD USN USS UYI UYU UZS VEB VED VEF VES VND \
    VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XFO XFU XOF XPD XPF XPT XSU XTS XUA XXX YER YUM ZAR \
    ZMK ZMW ZWD ZWG ZWL ZWN ZWR";

/// The symbol of a currency: its code where there is no other; `None` when there is no such code.
pub(super) fn symbol(code: &str) -> Option<&str> {
    Some(match code {
        "AUD" => "A$",
        "BRL" => "R$",
        "CAD" => "CA$",
        "CNY" => "CN\u{a5}",
        "EUR" => "\u{20ac}",
        "GBP" => "\u{a3}",
        "HKD" => "HK$",
        "ILS" => "\u{20aa}",
        "INR" => "\u{20b9}",
        "JPY" => "\u{a5}",
        "KRW" => "\u{20a9}",
        "MXN" => "MX$",
        "NZD" => "NZ$",
        "PHP" => "\u{20b1}",
        "TWD" => "NT$",
        "USD" => "$",
        "VND" => "\u{20ab}",
        "XAF" => "FCFA",
        "XCD" => "EC$",
        "XOF" => "F\u{202f}CFA",
        "XPF" => "CFPF",
        "XXX" => "\u{a4}",
        _ if code.len() == 3 && CODES.split(' ').any(|known| known == code) => code,
        _ => return None,
    })
}
