"""Makes valid phone numbers of all countries and all kinds with an independent library, and some that take no message."""

import json
import random
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

wanted = int(sys.argv[1])
chance = random.Random(11)
KINDS = [kind for kind in range(11) if kind != PhoneNumberType.SHARED_COST]


def examples():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in KINDS:
            number = phonenumbers.example_number_for_type(region, kind)
            if number:
                yield number
    for code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS):
        number = phonenumbers.example_number_for_non_geo_entity(code)
        if number:
            yield number


def text(number):
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def varied(example):
    """Another number of the same length: the more digits are drawn, the likelier it is none."""
    written = text(example)
    drawn = chance.randint(1, 6)
    return written[:-drawn] + "".join(chance.choice("0123456789") for _ in range(drawn))


def is_good(written):
    try:
        number = phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        return False
    good = phonenumbers.is_valid_number(number) and text(number) == written
    return good and phonenumbers.number_type(number) != PhoneNumberType.SHARED_COST


of_all = [example for example in examples() if is_good(text(example))]
valid = {text(number) for number in of_all}
while len(valid) < wanted:
    for example in of_all:
        written = varied(example)
        if is_good(written):
            valid.add(written)
shared = [
    phonenumbers.example_number_for_type(region, PhoneNumberType.SHARED_COST)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
]
print(json.dumps({"valid": sorted(valid), "shared": sorted({text(number) for number in shared if number})}))
