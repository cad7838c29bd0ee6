package column

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts days of the proleptic Gregorian calendar. Years start in March here, so that
// the leap day is the last one.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := int64(year) + 400 // keeps the divisions below positive from year 0 on
	days := era*365 + era/4 - era/100 + era/400
	days += int64((153*(month-3)+2)/5 + day - 1)
	const march1st0400BeforeEpoch = 400*365 + 97 + 719468
	return days - march1st0400BeforeEpoch
}

// secondsOf are the seconds from the epoch to a date and time of day in UTC.
func secondsOf(days int64, hour, minute, second int) int64 {
	return (days*24+int64(hour))*3600 + int64(minute)*60 + int64(second)
}
