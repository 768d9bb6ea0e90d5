//! What is asked of an expression's syntax.

use proc_macro2::Span;

pub(super) fn call_path(call: &syn::ExprCall) -> Option<&syn::ExprPath> {
    match &*call.func {
        syn::Expr::Path(path) => Some(path),
        _ => None,
    }
}

pub(super) fn literal(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

/// Where a call by this path begins.
pub(super) fn path_start(path: &syn::ExprPath) -> Span {
    path.path
        .leading_colon
        .map(|colons| colons.spans)
        .and_then(|spans| spans.first().copied())
        .or_else(|| {
            path.path
                .segments
                .first()
                .map(|segment| segment.ident.span())
        })
        .unwrap_or_else(Span::call_site)
}

/// The last name of a receiver: `dir` of `self.dir`, `dir` of `self.dir()`, `dir` of `dir?`.
pub(super) fn last_name(expression: &syn::Expr) -> String {
    match expression {
        syn::Expr::Path(path) => path
            .path
            .segments
            .last()
            .map_or_else(String::new, |segment| segment.ident.to_string()),
        syn::Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(_) => last_name(&field.base),
        },
        syn::Expr::MethodCall(call) => call.method.to_string(),
        syn::Expr::Try(inner) => last_name(&inner.expr),
        syn::Expr::Paren(inner) => last_name(&inner.expr),
        syn::Expr::Reference(inner) => last_name(&inner.expr),
        syn::Expr::Unary(inner) => last_name(&inner.expr),
        _ => String::new(),
    }
}

/// True for `#[test]` and `#[cfg(test)]`.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test"))
    })
}
