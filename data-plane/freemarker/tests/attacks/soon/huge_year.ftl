${"999999999-01-01"?date("yyyy-MM-dd")?string("yyyy")}
