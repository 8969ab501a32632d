//! Kubernetes quantities: `10Gi`, `1.5G`, `500M`, `12e6`, `128974848000m`.

/// Why a text isn't a size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text doesn't follow the grammar of a quantity.
    #[error("{0:?} isn't a Kubernetes quantity such as 10Gi, 500M, 1.5G or 12e6")]
    Malformed(String),
    /// A volume needs at least one byte, as the API server says too.
    #[error("{0:?} isn't greater than zero")]
    NotPositive(String),
    /// CSI counts bytes in a signed 64-bit integer.
    #[error("{0:?} is more than 2^63 - 1 bytes")]
    TooLarge(String),
}

/// Reads a quantity as a number of bytes, rounded up to a whole byte as Kubernetes does (`Quantity.Value()`).
pub fn parse_bytes(text: &str) -> Result<i64, QuantityError> {
    let malformed = || QuantityError::Malformed(text.to_owned());
    let too_large = || QuantityError::TooLarge(text.to_owned());
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(malformed());
    }
    let scale = Scale::parse(suffix).ok_or_else(malformed)?;
    // Trailing zeroes say nothing, and would only overflow.
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() || negative {
        return Err(QuantityError::NotPositive(text.to_owned()));
    }
    let mantissa: i128 = digits.parse().map_err(|_| too_large())?;
    let places = i32::try_from(fraction.len()).map_err(|_| too_large())?;
    let bytes = scale.apply(mantissa, places).ok_or_else(too_large)?;
    i64::try_from(bytes).map_err(|_| too_large())
}

/// What a suffix multiplies with: 2^`binary` × 10^`decimal`.
struct Scale {
    binary: u32,
    decimal: i32,
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        let (binary, decimal) = match suffix {
            "Ki" => (10, 0),
            "Mi" => (20, 0),
            "Gi" => (30, 0),
            "Ti" => (40, 0),
            "Pi" => (50, 0),
            "Ei" => (60, 0),
            "n" => (0, -9),
            "u" => (0, -6),
            "m" => (0, -3),
            "" => (0, 0),
            "k" => (0, 3),
            "M" => (0, 6),
            "G" => (0, 9),
            "T" => (0, 12),
            "P" => (0, 15),
            "E" => (0, 18),
            exponent => (0, parse_exponent(exponent)?),
        };
        Some(Self { binary, decimal })
    }

    /// `mantissa` × 10^-`places` × the scale, rounded up; nothing if it overflows.
    fn apply(&self, mantissa: i128, places: i32) -> Option<i128> {
        let power = self.decimal.checked_sub(places)?;
        let shifted = mantissa.checked_mul(1_i128.checked_shl(self.binary)?)?;
        let ten = 10_i128.checked_pow(power.unsigned_abs());
        if power >= 0 {
            return shifted.checked_mul(ten?);
        }
        // A divisor beyond i128 leaves less than a byte, and less than a byte is rounded up.
        Some(ten.map_or(1, |ten| shifted / ten + i128::from(shifted % ten != 0)))
    }
}

/// The decimal exponent of `e6`, `E6`, `e-3`.
fn parse_exponent(text: &str) -> Option<i32> {
    text.strip_prefix(['e', 'E'])?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{QuantityError, parse_bytes};

    #[test]
    fn every_suffix_has_its_size() {
        let table = [
            ("1", 1),
            ("1024", 1 << 10),
            ("1Ki", 1 << 10),
            ("1Mi", 1 << 20),
            ("10Gi", 10 << 30),
            ("1Ti", 1 << 40),
            ("1Pi", 1 << 50),
            ("1Ei", 1 << 60),
            ("1k", 1_000),
            ("1M", 1_000_000),
            ("1G", 1_000_000_000),
            ("1T", 1_000_000_000_000),
            ("1P", 1_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("128974848000m", 128_974_848),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn decimals_and_exponents_are_read() {
        let table = [
            ("1.5Gi", 1_610_612_736),
            ("0.5Ki", 512),
            (".5Ki", 512),
            ("5.Ki", 5120),
            ("+1Ki", 1024),
            ("12e6", 12_000_000),
            ("12E6", 12_000_000),
            ("1.5e3", 1500),
            ("1e+3", 1000),
            ("2000e-3", 2),
            ("1.000000000000000000000000000000000000000000Gi", 1 << 30),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_part_of_a_byte_is_rounded_up() {
        for text in ["1m", "1n", "0.1", "1e-3", "1e-60", "0.0001Ki"] {
            assert_eq!(parse_bytes(text), Ok(1), "{text}");
        }
        assert_eq!(parse_bytes("1.0001Ki"), Ok(1025));
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in [
            "", " 1Gi", "1Gi ", "1 Gi", "Gi", ".", "1..5", "1.2.3", "1gi", "1GB", "1K", "1e", "1e++1", "1ei", "0x10",
            "ten", "--1", "1_000", "١",
        ] {
            assert_eq!(
                parse_bytes(text),
                Err(QuantityError::Malformed(text.to_owned())),
                "{text:?}"
            );
        }
    }

    #[test]
    fn nothing_and_less_is_refused() {
        for text in ["0", "0Gi", "-1", "-1Gi", "0.0"] {
            assert_eq!(
                parse_bytes(text),
                Err(QuantityError::NotPositive(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn more_than_csi_can_count_is_refused() {
        for text in [
            "8Ei",
            "10E",
            "1e19",
            "1e40",
            "1e2147483647",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(
                parse_bytes(text),
                Err(QuantityError::TooLarge(text.to_owned())),
                "{text}"
            );
        }
        assert_eq!(parse_bytes("9223372036854775807"), Ok(i64::MAX));
    }
}
