"""The exception tree; every error names the file, the rows and the remedy.

Exit codes of the command line: 0 ok, 1 unexpected, 2 data or usage, 3 leak, 4 contract, 5 abstained, 6 locked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import pandas as pd


class CapshiftError(Exception):
    """Base of every error that capshift raises on purpose."""

    exit_code: ClassVar[int] = 2


class DataContractError(CapshiftError):
    """Input that breaks its declared shape.

    Parameters
    ----------
    message : str
        One sentence: what is wrong, where, and the remedy.
    rows : pandas.DataFrame, optional
        The offending rows.
    """

    def __init__(self, message: str, rows: pd.DataFrame | None = None) -> None:
        super().__init__(message)
        self.rows = rows


class DefinitionError(DataContractError):
    """A market definition or configuration that does not validate."""


class StaleDataError(CapshiftError):
    """A required input is older than its staleness limit."""

    exit_code: ClassVar[int] = 5


class LookAheadError(CapshiftError):
    """A value, label or bundle would be used before it was knowable."""

    exit_code: ClassVar[int] = 3


class BundleError(CapshiftError):
    """A model bundle is missing, corrupt or breaks the feature contract."""

    exit_code: ClassVar[int] = 4


class LockedError(CapshiftError):
    """Another process holds the store or the output."""

    exit_code: ClassVar[int] = 6


class LedgerError(CapshiftError):
    """The ledger is inconsistent."""

    exit_code: ClassVar[int] = 4


class FrozenError(CapshiftError):
    """Code or configuration differ from what was frozen, or the record of it was edited."""

    exit_code: ClassVar[int] = 4


class PromotionError(CapshiftError):
    """A challenger does not pass the gate, or there is nothing to promote or to go back to."""

    exit_code: ClassVar[int] = 4
