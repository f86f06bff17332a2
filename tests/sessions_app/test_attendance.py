"""Who is silent, and since when."""

from sessions_app.attendance import Attendance


def listening(patience: float = 15.0) -> Attendance:
    return Attendance(patience, now=0.0)


def look_each_second(attendance: Attendance, start: int, end: int, *, is_connected: bool = True) -> None:
    for now in range(start, end):
        attendance.look(float(now), is_connected=is_connected)


def test_a_silent_transport_is_gone() -> None:
    attendance = listening()
    attendance.hear("t", 3.0)
    assert not attendance.is_gone("t", 18.0)
    assert attendance.is_gone("t", 18.1)


def test_one_never_heard_gets_the_same_patience() -> None:
    attendance = listening()
    assert not attendance.is_gone("t", 15.0)
    assert attendance.is_gone("t", 15.1)


def test_a_deaf_time_is_no_silence() -> None:
    attendance = listening()
    attendance.hear("t", 1.0)
    look_each_second(attendance, 1, 10)
    look_each_second(attendance, 10, 40, is_connected=False)
    look_each_second(attendance, 40, 50)
    assert not attendance.is_gone("t", 50.0)
    assert attendance.is_gone("t", 55.0)


def test_an_absent_mind_is_no_silence() -> None:
    attendance = listening()
    attendance.hear("t", 1.0)
    attendance.look(2.0, is_connected=True)
    attendance.look(60.0, is_connected=True)
    assert not attendance.is_gone("t", 60.0)
