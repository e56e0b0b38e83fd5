"""Places of a process: shared out among profiles, left open to decision support, handed on, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from db.caller import Profile
from db.places import Places

ANALYST, CDS, CLINICIAN, NURSE = Profile.ANALYST, Profile.CDS, Profile.CLINICIAN, Profile.NURSE


def taken(places: Places, profile: Profile) -> int:
    """How many places a profile takes until there is none."""
    count = 0
    while places.take(profile):
        count += 1
    return count


def test_no_profile_takes_more_than_half() -> None:
    places = Places(16)
    assert (taken(places, ANALYST), taken(places, NURSE)) == (8, 4)
    assert places.each == 8


def test_a_quarter_is_left_for_decision_support() -> None:
    places = Places(16)
    others = sum(taken(places, profile) for profile in Profile if profile is not CDS)
    assert (others, taken(places, CDS)) == (12, 4)
    assert taken(Places(16), CDS) == 8


def test_the_fewest_places_still_serve_decision_support() -> None:
    places = Places(2)
    assert [taken(places, profile) for profile in (ANALYST, NURSE, CDS)] == [1, 0, 1]


async def waiting(places: Places, *profiles: Profile) -> Sequence[asyncio.Task[None]]:
    """Tasks that wait for places, in this order."""
    tasks = [asyncio.create_task(places.wait(profile)) for profile in profiles]
    await asyncio.sleep(0)
    return tasks


async def done(tasks: Sequence[asyncio.Task[None]]) -> Sequence[bool]:
    """Which have a place by now."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_a_free_place_goes_to_whom_holds_fewest() -> None:
    places = Places(8)
    assert (taken(places, ANALYST), taken(places, NURSE)) == (4, 2)
    tasks = await waiting(places, ANALYST, NURSE, CLINICIAN, NURSE)
    places.give_back(ANALYST)
    assert await done(tasks) == [False, False, True, False]
    places.give_back(ANALYST)
    assert await done(tasks) == [False, True, True, False]
    places.give_back(CLINICIAN)
    assert await done(tasks) == [True, True, True, False]


async def test_who_stops_waiting_has_no_place() -> None:
    places = Places(4)
    assert (taken(places, ANALYST), taken(places, CDS)) == (2, 2)
    [gone, stays] = await waiting(places, ANALYST, ANALYST)
    gone.cancel()
    places.give_back(ANALYST)
    assert await done([gone, stays]) == [True, True]
    assert gone.cancelled()
    [handed] = await waiting(places, ANALYST)
    places.give_back(ANALYST)
    handed.cancel()  # at the moment in which it is handed its place
    assert await done([handed]) == [True]
    assert taken(places, ANALYST) == 1, "which is not lost"
