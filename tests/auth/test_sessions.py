"""Session tokens as NextAuth.js and Auth.js issue them, made for these tests by their own code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.auth.claims import ClaimRules
from bridge.auth.keys import key_from_secret
from bridge.auth.sessions import SESSION_KEYS_MAX, SessionKeys
from bridge.auth.tokens import TokenRules
from bridge.core.errors import TokenRejected
from tests.auth.issuer import OTHER_SECRET, verify

SECRET = "kR7vJ2nXw9QmB4tYc6LpZ8sHd3FgA5eU"
ISSUED_AT = 1795247722.0
SECONDS = 3_600.0
COOKIES = ("authjs.session-token", "__Secure-authjs.session-token")

# Each says sub user-7 and role admin, and is good for an hour.
# encode() of next-auth 4.24.15
NEXTAUTH_4 = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..2ra-SBei9WI9pD0a.-D7IPrPDTKr3tqHN0waIdYT_4EKpj2URxRXcga"
    "kRH_69Q93VqNoZY22WZpfc-T7s0fu_dgNzS_USPeEo5PVPS-TAkvVCEotQgxmQoXYkLLAxQ5hk6QEIn6h3yp0KFhkbgsW6I8"
    "yPGjtTinkjz09_r3ytYNXLl4YVNmVDMNcp2-OH4aS8J5fLbkfRi-AWDWOGDRpNFqNA7A.drNA7D2SrBAFiVJ5ruC1xw"
)
# encode() of @auth/core 0.34.3, with each of the cookies above for salt
AUTHJS_5 = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiRmVpcnB1T2QxSXAxMkpfOGxHMkUyNkl3ODRsUXJG"
    "NWIySnQzejRjZlppaWxPcDUwNWo4RU9kcnUyUEZqYjh0THVYbk5mbWktbXI3b0hFRlg0N3lpRmcifQ..VjRUbp0beBZ_mRBK"
    "ejmesg.Pa2KI59SDSBedxk0COdeFokJZyD8ecENpOoikLGseO1WJGTNKvFGsSQRs53GZvgDY84uyZfI-BOLMW9ClX9xvXZBC"
    "zlfiny1DcTdnUQA-G0wGakH6-yM-2YHk9iJjZ7a7jyXRynO9opdjovBaoLoOREGduZvUCk0Y4HoGWMiDvZWEtuEn_S7-zdtd"
    "Cx6wHDvCNxfaLFzBVc4EfTQmzhGtw.od3ed2Zh4qe29OxFnZOsw51llULvUYcAMDM2ONdMdkE"
)
AUTHJS_5_SECURE = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiV2lyUlphRTQtR3BTMDZTX0VfXy1YSFkyNVJKR3dI"
    "QXRyWmItRTllcEpPRlVHcE1ZeUZlV0dodEYyek1xT3N4OWZIa0JJMzhveDJVbmpiZ3FqZkVvOHcifQ..rw9UjLOi2WiHeazj"
    "pzUZHw.PEIFa7xP9m3iB25zBGnfr-uxFL6-u_U2BwK4zr8SiSUcblznPtDmEtzLg4_ZmRVHQtIBeRVJogHWbmRjy_V7geN-j"
    "NWJQmM2k8nmhvo5ExyLD4v4OYYnajkx_0qtf7_82xC6J4uSBkI4BOEn9ajSys986rfpR-6QnkajShPyzsRJ7q8asdDFv4dxG"
    "3SJbRVvt3mpe8wHghYKqKJhehOgSQ.qZRvnAA-hs3U-JAKH9iI6abEk5hzjvUze63g7L9m0io"
)
# The same with the salt other.cookie
AUTHJS_5_OTHER = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiUXVaRXNHRlNsakU3OUtVYTFqRGJpdG1jUzUySVY2"
    "TmFpNTJ2WExWelJkMGZMTUpfc0tNeWduUnFzMkRXdklQdUpTcy1XRzR6blhVR3ktcDJSbEs0VVEifQ..L5dncgzDhJ5jl-EF"
    "ZOZTpw.N6bqF9JbHqAtK9xJ_HUjSNN36dwUVMbG6c-ebH3j-TcdOdb4Z7gkKlEkGylFvuugxMWAtNRpQDImPJVTBVuiL1ACZ"
    "uPrg0vAYvAvkzsGFBxxefvFKy8b0P06JHX56KW2AiYpB-dXxqMoHWP9wH-_lGULSKxbUe9VCEH8P55vUF7ALQcBhNohQnZYj"
    "LIcFxJ01xqwst9PqALDyrca7TEflQ.58nM55wsaB3EO4aA11eW00NVXau-ktTXhDel0oksRGs"
)
# sign() of jsonwebtoken 9.0.3 with the same secret, as a page with an encode() of its own does
SIGNED = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTciLCJuYW1lIjoiVGVzdCIsImVtYWlsIjoidGVzdEB"
    "leGFtcGxlLmNvbSIsInJvbGUiOiJhZG1pbiIsImlhdCI6MTc5NTI0NzcyMiwiZXhwIjoxNzk1MjUxMzIyLCJqdGkiOiJwbGF"
    "pbi0xIn0.umCvLMiW9-kye5S6bBW0cF6QoRRBSSwY-PJKl8S-XbI"
)


def rules(*secrets: str, salts: tuple[str, ...] = COOKIES) -> TokenRules:
    """Return the rules of a bridge that has these secrets."""
    return TokenRules(
        keys=tuple(key_from_secret(secret, "HS256") for secret in secrets),
        claims=ClaimRules(),
        sessions=SessionKeys(secrets, salts),
    )


TOKENS = [
    pytest.param(NEXTAUTH_4, id="next-auth 4"),
    pytest.param(AUTHJS_5, id="auth.js 5"),
    pytest.param(AUTHJS_5_SECURE, id="auth.js 5, secure cookie"),
    pytest.param(SIGNED, id="signed"),
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER_SECRET, SECRET)], ids=["secret", "former secret"])
def test_session_tokens(token: str, secrets: tuple[str, ...]) -> None:
    """A session token names its user, with role and id, whichever library made it."""
    who = verify(token, rules(*secrets), now=ISSUED_AT + 1)

    assert (who.user_id, who.roles, who.issued_at) == ("user-7", frozenset({"admin"}), ISSUED_AT)
    assert who.expires_at == ISSUED_AT + SECONDS + 5
    assert who.token_id


@pytest.mark.parametrize("token", TOKENS)
def test_session_tokens_end(token: str) -> None:
    """What is encrypted ends in time like anything else."""
    with pytest.raises(TokenRejected) as caught:
        verify(token, rules(SECRET), now=ISSUED_AT + SECONDS + 60)

    assert caught.value.reason == "expired"


NOT_OURS = [
    (AUTHJS_5_OTHER, rules(SECRET), "bad_signature", "sealed for another cookie"),
    (NEXTAUTH_4, rules(OTHER_SECRET), "bad_signature", "sealed with another secret"),
    (AUTHJS_5, rules(OTHER_SECRET), "bad_signature", "sealed with another secret, and named so"),
    (NEXTAUTH_4[:-1] + "A", rules(SECRET), "bad_signature", "with another tag"),
    (NEXTAUTH_4.replace("..", ".AAAA."), rules(SECRET), "bad_signature", "with a wrapped key too many"),
    (NEXTAUTH_4.rpartition(".")[0] + ".", rules(SECRET), "bad_signature", "without a tag"),
    (NEXTAUTH_4.rpartition(".")[0] + ".AAAA", rules(SECRET), "bad_signature", "with a short tag"),
    (NEXTAUTH_4, replace(rules(SECRET), sessions=None), "malformed", "where they are turned off"),
]


@pytest.mark.parametrize(("token", "ours", "reason"), [pytest.param(*row[:3], id=row[3]) for row in NOT_OURS])
def test_not_ours(token: str, ours: TokenRules, reason: str) -> None:
    """What is not sealed with one of our secrets, whole, is rejected."""
    with pytest.raises(TokenRejected) as caught:
        verify(token, ours, now=ISSUED_AT + 1)

    assert caught.value.reason == reason


def test_salts_can_be_set() -> None:
    """A session cookie of another name is opened where it is set."""
    ours = rules(SECRET, salts=("other.cookie",))

    assert verify(AUTHJS_5_OTHER, ours, now=ISSUED_AT + 1).user_id == "user-7"


def test_so_many_keys_and_no_more() -> None:
    """However many salts there are, so many keys are derived at most."""
    ours = rules(SECRET, salts=(*(f"cookie-{number}" for number in range(SESSION_KEYS_MAX)), COOKIES[0]))

    assert verify(NEXTAUTH_4, ours, now=ISSUED_AT + 1).user_id == "user-7"
    with pytest.raises(TokenRejected):
        verify(AUTHJS_5, ours, now=ISSUED_AT + 1)


def test_the_secret_is_not_shown() -> None:
    """Rules that get into a log or a traceback do not give the secret away."""
    assert SECRET not in repr(rules(SECRET))
