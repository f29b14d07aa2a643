${8640000000000000?number_to_datetime?iso_utc}
