//! Pure. The head of a CONNECT request. Its bytes are foreign and come in any pieces; whatever could
//! be read in two ways is refused, since that is how requests are smuggled past a proxy.
//!
//! Bytes and lines are judged in their order, the fields at last: so what is found doesn't depend on
//! the pieces, and more bytes never change a verdict.

use httparse::{EMPTY_HEADER, Header, Status};

use crate::connect::head::credentials::Credentials;
use crate::connect::hops::Hops;
use crate::connect::target::{NotATarget, Target};

pub mod credentials;

/// Fields of a head. Clients send a handful.
pub const MAX_FIELDS: usize = 100;

/// The longest registered method has 17 bytes; what is longer is another protocol.
const LONGEST_METHOD: usize = 32;

/// What the bytes that came so far mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// They may still become a request.
    More,
    /// They are none that is served.
    Refused(HeadError),
    /// They are one.
    Request(Request),
}

/// A CONNECT request. Nothing but its target decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where the client wants to go.
    pub target: Target,
    /// Who the client says it is.
    pub credentials: Option<Credentials>,
    /// Bytes of the head; those behind it are for the target.
    pub length: usize,
    /// The field `Host`, for the log only: kube-apiserver sends 127.0.0.1 whatever the target.
    pub host: Option<String>,
    /// The proxies that it has been through.
    pub hops: Hops,
}

/// Why a head is refused. No message repeats what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A CR without LF.
    #[error("a line has a carriage return inside")]
    BareCr,
    /// A LF without CR.
    #[error("a line ends without a carriage return")]
    BareLf,
    /// Other than one that is 0.
    #[error("a CONNECT request has no content, so no Content-Length but 0")]
    ContentLength,
    /// NUL and the like.
    #[error("it has a control character")]
    Control,
    /// Two of `Proxy-Authorization`.
    #[error("it has more than one Proxy-Authorization")]
    DuplicateCredentials,
    /// Two of `Host`.
    #[error("it has more than one Host")]
    DuplicateHost,
    /// A name that is empty or has a space, or a line without a colon.
    #[error("a field is not written as name, colon and value, without a space before the colon")]
    Field,
    /// No end of the fields within the bytes that are read.
    #[error("its fields are too long")]
    FieldsTooLong,
    /// A line that starts with a space.
    #[error("a field goes on in another line")]
    Fold,
    /// `Host` with a space or the like.
    #[error("its Host is neither a name nor an address")]
    Host,
    /// The start of HTTP/2.
    #[error("the proxy speaks HTTP/1.1, the client HTTP/2")]
    Http2,
    /// No end of the first line within the bytes that are read.
    #[error("its first line is too long")]
    LineTooLong,
    /// Another one than CONNECT.
    #[error("the proxy serves the method CONNECT alone")]
    Method,
    /// HTTP/1.1 needs one.
    #[error("its Host is missing")]
    MissingHost,
    /// TLS, SSH or noise.
    #[error(
        "it is not HTTP; the proxy's port speaks plain HTTP/1.1, so its URL starts with http://"
    )]
    NotHttp,
    /// Not method, target and version with a space between them.
    #[error("its first line is not: CONNECT host:port HTTP/1.1")]
    RequestLine,
    /// What is asked for is none.
    #[error("its target is not fine: {0}")]
    Target(#[source] NotATarget),
    /// More than [`MAX_FIELDS`].
    #[error("it has more than 100 fields")]
    TooManyFields,
    /// Any.
    #[error("a CONNECT request has no content, so no Transfer-Encoding")]
    TransferEncoding,
    /// Neither HTTP/1.1 nor 1.0.
    #[error("the proxy speaks HTTP/1.1 and 1.0")]
    Version,
}

/// Judges the first bytes of a connection; the head ends within `max` of them.
///
/// It begins anew each time: with 16 KiB that come byte by byte, that is still less work than the
/// kernel has with as many packets.
#[must_use]
pub fn read(bytes: &[u8], max: usize) -> Read {
    let seen = bytes.get(..max).unwrap_or(bytes);
    match parse(seen) {
        Err(error) => Read::Refused(error),
        Ok(Step::Done(request)) => Read::Request(request),
        Ok(_) if bytes.len() < max => Read::More,
        Ok(Step::InFields) => Read::Refused(HeadError::FieldsTooLong),
        Ok(Step::InLine) => Read::Refused(HeadError::LineTooLong),
    }
}

/// How far the bytes reach.
enum Step {
    Done(Request),
    InFields,
    InLine,
}

fn parse(bytes: &[u8]) -> Result<Step, HeadError> {
    if !starts_with_method(bytes)? {
        return Ok(Step::InLine);
    }
    let Some((first, rest)) = split_line(bytes)? else {
        return Ok(Step::InLine);
    };
    let (target, version) = parse_first(first)?;
    let Some(after) = skip_fields(rest)? else {
        return Ok(Step::InFields);
    };
    let length = bytes.len() - after.len();
    let block = rest.get(..rest.len() - after.len()).unwrap_or_default();
    let fields = parse_fields(block, version)?;
    if version == Version::Http11 && fields.host.is_none() {
        return Err(HeadError::MissingHost);
    }
    Ok(Step::Done(Request {
        target,
        credentials: fields.credentials,
        length,
        host: fields.host,
        hops: fields.hops,
    }))
}

/// False: it may still come.
fn starts_with_method(bytes: &[u8]) -> Result<bool, HeadError> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = bytes.iter().take_while(|byte| is_token(byte)).count();
    match bytes.get(length) {
        _ if length > LONGEST_METHOD => Err(HeadError::NotHttp),
        None => Ok(false),
        Some(b' ') if length > 0 => Ok(true),
        Some(_) => Err(HeadError::NotHttp),
    }
}

/// A line without its end, and what is behind it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first line; absent: it may still come.
fn split_line(bytes: &[u8]) -> Result<Option<Split<'_>>, HeadError> {
    let is_odd = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let Some((line, rest)) = bytes
        .iter()
        .position(is_odd)
        .and_then(|end| bytes.split_at_checked(end))
    else {
        return Ok(None);
    };
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok(Some((line, rest))),
        [b'\r'] => Ok(None),
        [b'\r', ..] => Err(HeadError::BareCr),
        [b'\n', ..] => Err(HeadError::BareLf),
        _ => Err(HeadError::Control),
    }
}

/// The minor version says whether `Host` has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Version {
    fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// The version goes before the method, the method before the target: of `GET http://…` the target
/// is not what is wrong.
fn parse_first(line: &[u8]) -> Result<(Target, Version), HeadError> {
    let words: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
    let &[method, target, version] = words.as_slice() else {
        return Err(HeadError::RequestLine);
    };
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/2.0" if (method, target) == (b"PRI", b"*") => return Err(HeadError::Http2),
        _ if version.starts_with(b"HTTP/") => return Err(HeadError::Version),
        _ => return Err(HeadError::RequestLine),
    };
    if method != b"CONNECT" {
        return Err(HeadError::Method);
    }
    let target = Target::parse(target).map_err(HeadError::Target)?;
    Ok((target, version))
}

/// What is behind the empty line; absent: it may still come.
fn skip_fields(bytes: &[u8]) -> Result<Option<&[u8]>, HeadError> {
    let mut rest = bytes;
    for _ in 0..=MAX_FIELDS {
        let Some((line, after)) = split_line(rest)? else {
            return Ok(None);
        };
        match line {
            [] => return Ok(Some(after)),
            [b' ' | b'\t', ..] => return Err(HeadError::Fold),
            _ => rest = after,
        }
    }
    Err(HeadError::TooManyFields)
}

/// What matters of the fields.
struct Fields {
    host: Option<String>,
    credentials: Option<Credentials>,
    hops: Hops,
}

/// All fields with the empty line.
fn parse_fields(block: &[u8], version: Version) -> Result<Fields, HeadError> {
    let mut headers = [EMPTY_HEADER; MAX_FIELDS];
    let Ok(Status::Complete((_, headers))) = httparse::parse_headers(block, &mut headers) else {
        return Err(HeadError::Field);
    };
    let mut fields = Fields {
        host: None,
        credentials: None,
        hops: Hops::new(version.number()),
    };
    let mut has_length = false;
    for Header { name, value } in headers {
        match name.to_ascii_lowercase().as_str() {
            "content-length" if has_length || *value != b"0" => {
                return Err(HeadError::ContentLength);
            }
            "content-length" => has_length = true,
            "host" if fields.host.is_some() => return Err(HeadError::DuplicateHost),
            "host" => fields.host = Some(host(value)?),
            "proxy-authorization" if fields.credentials.is_some() => {
                return Err(HeadError::DuplicateCredentials);
            }
            "proxy-authorization" => fields.credentials = Some(Credentials::parse(value)),
            "transfer-encoding" => return Err(HeadError::TransferEncoding),
            "via" => fields.hops.add(value),
            _ => {}
        }
    }
    Ok(fields)
}

/// Fit for a log; empty is fine, too.
fn host(value: &[u8]) -> Result<String, HeadError> {
    let is_fine = |byte: &u8| byte.is_ascii_graphic() && !b",/@\"".contains(byte);
    if value.iter().all(is_fine) {
        Ok(String::from_utf8_lossy(value).into_owned())
    } else {
        Err(HeadError::Host)
    }
}

#[cfg(test)]
mod tests;
