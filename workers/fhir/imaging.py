"""ImagingStudy: the study, its series and its instances; pixels come from elsewhere."""

from __future__ import annotations

from uuid import UUID

from db.ids import derived_id
from workers.fhir.elements import Json, code, date_time, obj, objects, sort_time, string, whole
from workers.fhir.link import Link, Row

DICOM_UID = "urn:dicom:uid"
ACCESSION = "ACSN"


def imaging_study(resource: Json, link: Link) -> list[Row]:
    """ImagingStudy → imaging_study, imaging_series, imaging_instance."""
    started = date_time(resource.get("started"))
    series = objects(resource.get("series"))
    found = [site for item in series if (site := obj(item.get("bodySite")))]
    sites = {(site.get("system"), site.get("code")): site for site in found}
    listed = [code(item) for item in [*objects(resource.get("modality")), *(item.get("modality") for item in series)]]
    values = link.fact() | {
        "study_uid": _study_uid(resource),
        "accession_number": _accession(resource),
        "status": string(resource.get("status")) or "unknown",
        "started": started,
        "modality": list(dict.fromkeys(item for item in listed if item)),
        "description": string(resource.get("description")),
        "procedure": objects(resource.get("procedureCode")),
        "body_site": list(sites.values()),
        "number_of_series": whole(resource.get("numberOfSeries")),
        "number_of_instances": whole(resource.get("numberOfInstances")),
        "sort_time": sort_time(started),
    }
    rows = [Row("imaging_study", values)]
    for position, item in enumerate(series):
        rows += _series(item, link, position)
    return rows


def _uid(value: object) -> str | None:
    text = string(value)
    return text.removeprefix("urn:oid:") if text else None


def _study_uid(resource: Json) -> str | None:
    uids = [
        _uid(item.get("value"))
        for item in objects(resource.get("identifier"))
        if item.get("system") == DICOM_UID or str(item.get("value")).startswith("urn:oid:")
    ]
    return uids[0] if uids else None


def _accession(resource: Json) -> str | None:
    numbers = (item.get("value") for item in objects(resource.get("identifier")) if code(item.get("type")) == ACCESSION)
    return string(next(numbers, None))


def _series(series: Json, link: Link, position: int) -> list[Row]:
    uid = _uid(series.get("uid"))
    row = derived_id("imaging_series", str(link.id), uid or str(position))
    values: Json = {
        "id": row,
        "facility_id": link.facility_id,
        "imaging_study_id": link.id,
        "series_uid": uid,
        "number": whole(series.get("number")),
        "modality": code(series.get("modality")),
        "body_site": obj(series.get("bodySite")),
        "description": string(series.get("description")),
        "started": date_time(series.get("started")),
        "number_of_instances": whole(series.get("numberOfInstances")),
    }
    instances = objects(series.get("instance"))
    return [Row("imaging_series", values), *(_instance(item, link, row, n) for n, item in enumerate(instances))]


def _instance(instance: Json, link: Link, series: UUID, position: int) -> Row:
    uid = _uid(instance.get("uid"))
    values: Json = {
        "id": derived_id("imaging_instance", str(series), uid or str(position)),
        "facility_id": link.facility_id,
        "imaging_series_id": series,
        "instance_uid": uid,
        "sop_class": _uid(code(instance.get("sopClass"))),
        "number": whole(instance.get("number")),
        "title": string(instance.get("title")),
    }
    return Row("imaging_instance", values)
