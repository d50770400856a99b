"""The bundled question set: capitals, with a document about each country."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

CAPITALS = {
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Austria": "Vienna", "Bolivia": "Sucre",
    "Brazil": "Brasilia", "Bulgaria": "Sofia", "Cambodia": "Phnom Penh", "Canada": "Ottawa",
    "Chile": "Santiago", "Colombia": "Bogota", "Croatia": "Zagreb", "Cuba": "Havana",
    "Denmark": "Copenhagen", "Ecuador": "Quito", "Egypt": "Cairo", "Estonia": "Tallinn",
    "Ethiopia": "Addis Ababa", "Finland": "Helsinki", "France": "Paris", "Georgia": "Tbilisi",
    "Germany": "Berlin", "Ghana": "Accra", "Greece": "Athens", "Hungary": "Budapest",
    "Iceland": "Reykjavik", "India": "New Delhi", "Indonesia": "Jakarta", "Iran": "Tehran",
    "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi",
    "Laos": "Vientiane", "Latvia": "Riga", "Lebanon": "Beirut", "Lithuania": "Vilnius",
    "Malaysia": "Kuala Lumpur", "Mali": "Bamako", "Mexico": "Mexico City",
    "Mongolia": "Ulaanbaatar", "Morocco": "Rabat", "Nepal": "Kathmandu", "Nigeria": "Abuja",
    "Norway": "Oslo",
    "Pakistan": "Islamabad", "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon",
    "Romania": "Bucharest", "Senegal": "Dakar", "Serbia": "Belgrade", "Slovakia": "Bratislava",
    "Slovenia": "Ljubljana", "Spain": "Madrid", "Sweden": "Stockholm", "Switzerland": "Bern",
    "Thailand": "Bangkok", "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala",
    "Ukraine": "Kyiv", "Uruguay": "Montevideo", "Vietnam": "Hanoi",
}  # fmt: skip
DOCUMENTS = {
    f"doc-{country.lower()}": f"{country} is a country. Its capital is {capital}."
    for country, capital in CAPITALS.items()
}


def questions() -> pd.DataFrame:
    """One row a question, with its answer and the document that holds it."""
    return pd.DataFrame(
        {
            "id": list(CAPITALS),
            "question": [f"What is the capital of {country}?" for country in CAPITALS],
            "expected": list(CAPITALS.values()),
            "relevant": [[f"doc-{country.lower()}"] for country in CAPITALS],
        }
    )


def retrieve(question: str, k: int = 3) -> list[tuple[str, float]]:
    """The documents that share most words with a question, best first, and how many."""
    asked = set(_words(question))
    scored = [
        (name, len(asked & set(_words(text))) / len(asked)) for name, text in DOCUMENTS.items()
    ]
    return sorted(scored, key=lambda each: (-each[1], each[0]))[:k]


def _words(text: str) -> Sequence[str]:
    return text.lower().replace("?", "").replace(".", "").split()
