-- Studies of the patients whose records the caller may see; series and instances are seen through their study.

SET ROLE caregraph_owner;
SELECT access.guard_told('imaging.imaging_study');
SELECT access.guard_more('imaging.imaging_series', 'facility_id = (SELECT access.facility_id())
    AND (SELECT true FROM imaging.imaging_study AS s WHERE s.id = imaging_series.imaging_study_id)');
SELECT access.guard_more('imaging.imaging_instance', 'facility_id = (SELECT access.facility_id())
    AND (SELECT true FROM imaging.imaging_series AS s WHERE s.id = imaging_instance.imaging_series_id)');
RESET ROLE;
