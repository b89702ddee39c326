//! The file with the node's token, which `mcc enrol` writes.

use std::path::Path;

use mcc_config::Secret;

/// Reads the token.
///
/// # Errors
/// Why there is none: the file cannot be read, or what it holds cannot be a token.
pub(super) async fn read(file: &Path) -> Result<Secret, String> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| error.to_string())?;
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Secret::new(token.to_owned()))
        }
        _ => Err("it holds something else than a token".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_can_be_a_token_is_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, token) in [
            ("mcc_1\n", Ok("mcc_1")),
            (" \n", Err("it is empty")),
            ("mcc_1\nmcc_2\n", Err("it holds something else than a token")),
            ("mcc_é", Err("it holds something else than a token")),
        ] {
            std::fs::write(file.path(), content).unwrap();
            let read = read(file.path()).await;
            assert_eq!(read.as_ref().map(Secret::expose).map_err(String::as_str), token);
        }
    }
}
