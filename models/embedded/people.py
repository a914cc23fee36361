"""Names, cities and other facts about invented people, shared by the domains that need some."""

from __future__ import annotations

import random

GIVEN_NAMES = (
    "Ada", "Alan", "Alice", "Amir", "Anna", "Ben", "Bruno", "Carla", "Chen", "Clara", "Daniel", "Diego",
    "Elena", "Emma", "Eric", "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jack", "Jana",
    "Kai", "Karim", "Laura", "Leo", "Lin", "Lucas", "Maria", "Max", "Mei", "Mina", "Nadia", "Noah", "Nora",
    "Olga", "Omar", "Paul", "Petra", "Rosa", "Ruth", "Sam", "Sara", "Sofia", "Tariq", "Theo", "Tom", "Uma",
    "Vera", "Victor", "Yara", "Zoe",
)  # fmt: skip
FAMILY_NAMES = (
    "Adams", "Baker", "Becker", "Brown", "Chen", "Costa", "Cruz", "Diaz", "Evans", "Fischer", "Garcia",
    "Green", "Haddad", "Hill", "Hopper", "Ito", "Ivanov", "Jensen", "Jones", "Kaya", "Keller", "Khan",
    "King", "Kovacs", "Lee", "Lopez", "Meyer", "Miller", "Moreau", "Mori", "Nguyen", "Novak", "Okafor",
    "Olsen", "Park", "Patel", "Reed", "Rossi", "Sato", "Silva", "Singh", "Smith", "Stone", "Taylor",
    "Turner", "Vega", "Wang", "Weber", "White", "Wood", "Young", "Zhang",
)  # fmt: skip
CITIES = (
    "Athens", "Berlin", "Boston", "Cairo", "Chicago", "Delhi", "Dublin", "Geneva", "Lagos", "Lima", "Lisbon",
    "London", "Madrid", "Milan", "Nairobi", "Osaka", "Oslo", "Paris", "Prague", "Rome", "Seoul", "Sydney",
    "Tokyo", "Toronto", "Vienna", "Warsaw", "Zurich",
)  # fmt: skip
COMPANIES = (
    "Acme", "Blue Sky", "Cedar", "Delta Labs", "Evergreen", "Fjord", "Globex", "Harbour", "Initech",
    "Juniper", "Kestrel", "Lumen", "Maple", "Northwind", "Orchid", "Pioneer", "Quartz", "Riverside",
    "Summit", "Umbra",
)  # fmt: skip
JOBS = (
    "baker", "chemist", "doctor", "driver", "engineer", "farmer", "gardener", "lawyer", "nurse", "painter",
    "pilot", "singer", "teacher", "writer",
)  # fmt: skip
HOBBIES = (
    "chess", "cooking", "cycling", "dancing", "fishing", "football", "hiking", "music", "painting",
    "photography", "reading", "running", "sailing", "swimming", "tennis", "yoga",
)  # fmt: skip


def draw_name(rng: random.Random) -> tuple[str, str]:
    """Draws a given name and a family name."""
    return rng.choice(GIVEN_NAMES), rng.choice(FAMILY_NAMES)
